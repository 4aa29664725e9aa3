/* How Python calls a loop in C: arrays come as anything with the buffer protocol, and are looked at for as long as the call
   takes. A module's source is `#include "native.h"`, functions begun with CALL and BEGIN, a table of METHODs, MODULE(name). */
#ifndef NATIVE_H
#define NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdint.h>

typedef struct { Py_buffer view[16]; int held; int failed; } Given;

/* The memory of an argument, which must be of `bytes` or more; None is no memory. */
static void *memory(Given *given, PyObject *one, int64_t bytes) {
    if (given->failed || one == Py_None) return NULL;
    Py_buffer *view = &given->view[given->held];
    if (PyObject_GetBuffer(one, view, PyBUF_SIMPLE) < 0) {
        given->failed = 1;
        return NULL;
    }
    given->held++;
    if (view->len < bytes) {
        PyErr_SetString(PyExc_ValueError, "an array is too short");
        given->failed = 1;
        return NULL;
    }
    return view->buf;
}

static int64_t whole(Given *given, PyObject *one) {
    int64_t value = PyLong_AsLongLong(one);
    if (value == -1 && PyErr_Occurred()) given->failed = 1;
    return value;
}

static double real(Given *given, PyObject *one) {
    double value = PyFloat_AsDouble(one);
    if (value == -1.0 && PyErr_Occurred()) given->failed = 1;
    return value;
}

static PyObject *answered(Given *given, int64_t value) {
    while (given->held) PyBuffer_Release(&given->view[--given->held]);
    if (given->failed) return NULL;
    return value < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(value);
}

static int expects(Py_ssize_t count, Py_ssize_t wanted) {
    if (count != wanted) PyErr_Format(PyExc_TypeError, "%zd arguments, not %zd", count, wanted);
    return count == wanted;
}

/* `given_` are the arguments; BEGIN says how many there must be, `answered(&given, value)` ends. */
#define CALL(name) static PyObject *call_##name(PyObject *self, PyObject *const *given_, Py_ssize_t count)
#define BEGIN(wanted) \
    (void)self; \
    if (!expects(count, wanted)) return NULL; \
    Given given = {.held = 0, .failed = 0}
#define MEMORY(type, at, size) (type *)memory(&given, given_[at], (int64_t)sizeof(type) * (size))
#define WHOLE(at) whole(&given, given_[at])
#define REAL(at) real(&given, given_[at])

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))call_##name, METH_FASTCALL, NULL}
#define MODULE(name) \
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, #name, NULL, -1, methods, NULL, NULL, NULL, NULL}; \
    PyMODINIT_FUNC PyInit_##name(void) { return PyModule_Create(&module); }

#endif
