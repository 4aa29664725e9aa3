/* The sums over the candidates of one request. What they compute is said, and shown to be equal, by the Python beside them
   (tests/ml/test_native.py): ml/ctr/runtime.py, ml/ctr/features.py. Built by deploy/native.py; called with the
   interpreter's lock held, for microseconds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "native.h"

typedef struct { float threshold; int32_t child; int32_t feature; int32_t missing_left; } Node;

/* Log odds of n rows: the leaves that each of the trees leads to, summed in their order. A node's right child follows its
   left one; a leaf is its own child. Rows go down a tree side by side, so that one waits for memory while others compute. */
static int64_t trees(int64_t n, int64_t width, const float *X, int64_t count, const int32_t *root, const int32_t *depth,
                     const Node *nodes, const double *leaf, double *out) {
    int32_t *at = malloc(sizeof(int32_t) * (size_t)(n + 1));
    if (!at) return -1;
    for (int64_t row = 0; row < n; row++) out[row] = 0;
    for (int64_t tree = 0; tree < count; tree++) {
        for (int64_t row = 0; row < n; row++) at[row] = root[tree];
        for (int32_t level = 0; level < depth[tree]; level++)
            for (int64_t row = 0; row < n; row++) {
                const Node *node = &nodes[at[row]];
                float x = X[row * width + node->feature];
                int left = (x <= node->threshold) | (node->missing_left & (x != x));
                at[row] = node->child + !left;
            }
        for (int64_t row = 0; row < n; row++) out[row] += leaf[at[row]];
    }
    free(at);
    return n;
}

enum { TOGETHER = 8 }; /* partial sums, so that several are added at once */

static double dot(const float *a, const float *b, int64_t size) {
    float sum[TOGETHER] = {0};
    int64_t at = 0;
    for (; at + TOGETHER <= size; at += TOGETHER)
        for (int lane = 0; lane < TOGETHER; lane++) sum[lane] += a[at + lane] * b[at + lane];
    for (; at < size; at++) sum[0] += a[at] * b[at];
    double total = 0;
    for (int lane = 0; lane < TOGETHER; lane++) total += (double)sum[lane];
    return total;
}

/* Of each row its vector's score with the reader, plus `bias`; NaN without a vector. */
static void scores(int64_t n, const int64_t *rows, const int64_t *vector_row, const uint8_t *has_vector,
                   const float *vectors, int64_t size, const float *reader, double bias, double *out) {
    for (int64_t at = 0; at < n; at++) {
        int64_t row = rows[at];
        out[at] = has_vector[row] ? dot(vectors + vector_row[row] * size, reader, size) + bias : NAN;
    }
}

enum { CTR, LINE_ITEM_CTR, LOG_IMPRESSIONS, LINE_ITEM_LOG_IMPRESSIONS, CLICKS, EXPOSURE, LINE_ITEM_CLICKS, LINE_ITEM_EXPOSURE };
enum { TEXT_AT, CTR_AT, RECENT_CTR_AT, LOG_IMPRESSIONS_AT, LINE_ITEM_CTR_AT, LINE_ITEM_LOG_IMPRESSIONS_AT, PLACES };

/* Feature rows: `constants`, and in the columns `places` what differs from ad to ad. `ads`: features.AdSide.table. */
static void features(int64_t n, int64_t width, const float *constants, const int32_t *places, const int64_t *rows,
                     const double *ads, int64_t size, double creative_faded, double line_item_faded,
                     double creative_strength, double line_item_strength, const double *text, float *out) {
#define OF(column) ads[(column) * size + row]
    for (int64_t at = 0; at < n; at++, out += width) {
        int64_t row = rows[at];
        for (int64_t column = 0; column < width; column++) out[column] = constants[column];
        double rate = OF(CTR), line_item = OF(LINE_ITEM_CTR);
        double of_late = (OF(LINE_ITEM_CLICKS) * line_item_faded + line_item_strength * line_item) /
                         (OF(LINE_ITEM_EXPOSURE) * line_item_faded + line_item_strength);
        double expected = rate * of_late / line_item;
        double recent = (OF(CLICKS) * creative_faded + creative_strength * expected) /
                        (OF(EXPOSURE) * creative_faded + creative_strength);
        out[places[TEXT_AT]] = (float)text[at];
        out[places[CTR_AT]] = (float)rate;
        out[places[RECENT_CTR_AT]] = (float)recent;
        out[places[LOG_IMPRESSIONS_AT]] = (float)OF(LOG_IMPRESSIONS);
        out[places[LINE_ITEM_CTR_AT]] = (float)line_item;
        out[places[LINE_ITEM_LOG_IMPRESSIONS_AT]] = (float)OF(LINE_ITEM_LOG_IMPRESSIONS);
    }
}

/* --- as Python calls it ------------------------------------------------------------------------------------------ */

/* trees(X, n, width, root, depth, nodes, leaf, count, out) */
CALL(trees) {
    BEGIN(9);
    int64_t n = WHOLE(1), width = WHOLE(2), trees_ = WHOLE(7), found = 0;
    const float *X = MEMORY(const float, 0, n * width);
    const int32_t *root = MEMORY(const int32_t, 3, trees_), *depth = MEMORY(const int32_t, 4, trees_);
    const Node *nodes = MEMORY(const Node, 5, 0);
    const double *leaf = MEMORY(const double, 6, 0);
    double *out = MEMORY(double, 8, n);
    if (!given.failed) found = trees(n, width, X, trees_, root, depth, nodes, leaf, out);
    return answered(&given, found);
}

/* scores(rows, n, vector_row, has_vector, vectors, size, reader, bias, out) */
CALL(scores) {
    BEGIN(9);
    int64_t n = WHOLE(1), size = WHOLE(5);
    const int64_t *rows = MEMORY(const int64_t, 0, n), *vector_row = MEMORY(const int64_t, 2, 0);
    const uint8_t *has_vector = MEMORY(const uint8_t, 3, 0);
    const float *vectors = MEMORY(const float, 4, 0), *reader = MEMORY(const float, 6, size);
    double bias = REAL(7), *out = MEMORY(double, 8, n);
    if (!given.failed) scores(n, rows, vector_row, has_vector, vectors, size, reader, bias, out);
    return answered(&given, 0);
}

/* features(constants, places, rows, n, ads, size, creative_faded, line_item_faded, creative_strength, line_item_strength,
   text, out) */
CALL(features) {
    BEGIN(12);
    int64_t n = WHOLE(3), size = WHOLE(5);
    const float *constants = MEMORY(const float, 0, 0);
    int64_t width = given.failed ? 0 : given.view[0].len / (int64_t)sizeof(float);
    const int32_t *places = MEMORY(const int32_t, 1, PLACES);
    const int64_t *rows = MEMORY(const int64_t, 2, n);
    const double *ads = MEMORY(const double, 4, 8 * size), *text = MEMORY(const double, 10, n);
    double creative_faded = REAL(6), line_item_faded = REAL(7), creative = REAL(8), line_item = REAL(9);
    float *out = MEMORY(float, 11, n * width);
    if (!given.failed)
        features(n, width, constants, places, rows, ads, size, creative_faded, line_item_faded, creative, line_item, text,
                 out);
    return answered(&given, 0);
}

static PyMethodDef methods[] = {METHOD(trees), METHOD(scores), METHOD(features), {0}};
MODULE(kernels)
