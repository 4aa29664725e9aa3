/* The loops of a decision that numpy would need a hundred calls for. What they compute is said, and shown to be equal,
   by the Python beside them (tests/decision/test_native.py): shortlist.py, exploration.py, bidding.py.

   Built by deploy/native.py without a machine's own instructions and without reordering sums: the same numbers everywhere.
   Called with the interpreter's lock held: they take microseconds, and whoever gives it up may wait for milliseconds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "native.h"

#define GOLDEN 0x9E3779B97F4A7C15ULL
enum { MOST_DRAWS = 64, BANK = 1 << 16 };

static uint64_t mix(uint64_t seed, int64_t number) { /* chance.mix: splitmix64 */
    uint64_t word = seed + GOLDEN * ((uint64_t)number + 1);
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9ULL;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBULL;
    return word ^ (word >> 31);
}

/* --- who is ranked ----------------------------------------------------------------------------------------------- */

typedef struct { double value; int64_t id; int64_t place; } Entry;

static int precedes(const Entry *a, const Entry *b) { /* higher values first, then lower ids */
    return a->value > b->value || (a->value == b->value && a->id < b->id);
}

static void sift(Entry *heap, int64_t size, int64_t at, int last_on_top) {
    Entry moving = heap[at];
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && precedes(&heap[child + 1], &heap[child]) != last_on_top) child++;
        if (precedes(&heap[child], &moving) == last_on_top) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void heapify(Entry *heap, int64_t size, int last_on_top) {
    for (int64_t at = size / 2 - 1; at >= 0; at--) sift(heap, size, at, last_on_top);
}

/* Stretches from the best down until those passed hold `needed` ads; twice as many while fewer than `wanted` of them are
   eligible. Writes the eligible rows and returns their number, -1 without memory. */
static int64_t narrowed(const uint8_t *eligible, int64_t stretches, const int64_t *starts, const int64_t *sizes,
                 const int64_t *topic, const double *promise, const double *lifts, const int64_t *rows,
                 int64_t wanted, double needed, int64_t *out) {
    Entry *heap = malloc(sizeof(Entry) * (size_t)(stretches + 1));
    if (!heap) return -1;
    for (int64_t s = 0; s < stretches; s++)
        heap[s] = (Entry){lifts ? promise[s] + lifts[topic[s]] : promise[s], s, s};
    heapify(heap, stretches, 0);
    int64_t found = 0, left = stretches;
    for (double reached = 0; left > 0;) {
        int64_t s = heap[0].place;
        heap[0] = heap[--left];
        if (left) sift(heap, left, 0, 0);
        for (int64_t at = starts[s]; at < starts[s] + sizes[s]; at++) {
            int64_t row = rows[at];
            if (eligible[row >> 3] >> (row & 7) & 1) out[found++] = row;
        }
        reached += (double)sizes[s];
        if (reached >= needed) {
            if (found >= wanted) break;
            while (needed <= reached) needed *= 2;
        }
    }
    free(heap);
    return found;
}

static int64_t best(Entry *side, int64_t size, int64_t places, int64_t *out) {
    if (places > 0 && size > places) {
        heapify(side, places, 1); /* the least of the best on top */
        for (int64_t at = places; at < size; at++)
            if (precedes(&side[at], &side[0])) {
                side[0] = side[at];
                sift(side, places, 0, 1);
            }
    }
    int64_t kept = size < places ? size : places;
    for (int64_t at = 0; at < kept; at++) out[at] = side[at].place;
    return kept;
}

/* The `ranked` best of n rows: most by click, a share by view; either side fills what the other leaves. */
static int64_t chosen(int64_t n, const int64_t *rows, const double *value, const uint8_t *pays_per_click, const int64_t *ids,
               int64_t ranked, int64_t cpm_share, int64_t *out) {
    Entry *all = malloc(sizeof(Entry) * (size_t)(2 * n + 1));
    if (!all) return -1;
    Entry *side[2] = {all, all + n};
    int64_t size[2] = {0, 0};
    for (int64_t at = 0; at < n; at++) {
        int clicks = pays_per_click[rows[at]] != 0;
        side[clicks][size[clicks]++] = (Entry){value[at], ids[rows[at]], rows[at]};
    }
    int64_t of_views = ranked / cpm_share > ranked - size[1] ? ranked / cpm_share : ranked - size[1];
    if (of_views > size[0]) of_views = size[0];
    int64_t found = best(side[1], size[1], ranked - of_views, out);
    found += best(side[0], size[0], of_views, out + found);
    free(all);
    return found;
}

typedef struct { uint64_t word; int64_t row; } Tied;

static int by_word(const void *a, const void *b) {
    uint64_t x = ((const Tied *)a)->word, y = ((const Tied *)b)->word;
    return (x > y) - (x < y);
}

/* Rows in the order of chance that decides ties. */
static int64_t tie_ordered(int64_t n, const int64_t *rows, const int64_t *ids, uint64_t seed, int64_t *out) {
    Tied *tied = malloc(sizeof(Tied) * (size_t)(n + 1));
    if (!tied) return -1;
    for (int64_t at = 0; at < n; at++) tied[at] = (Tied){mix(seed, ids[rows[at]]), rows[at]};
    for (int64_t at = 1; n <= 64 && at < n; at++) { /* few: quicker than the library's */
        Tied moving = tied[at];
        int64_t to = at;
        for (; to > 0 && tied[to - 1].word > moving.word; to--) tied[to] = tied[to - 1];
        tied[to] = moving;
    }
    if (n > 64) qsort(tied, (size_t)n, sizeof(Tied), by_word);
    for (int64_t at = 0; at < n; at++) out[at] = tied[at].row;
    free(tied);
    return n;
}

/* --- what they bid ----------------------------------------------------------------------------------------------- */

/* bidding.bids_for; returns how many cannot stand as they are: no usable score, below `least`, or nothing to charge. */
static int64_t bids(int64_t n, const int64_t *rows, const double *pace, const double *pace_limit, const double *unit,
             const uint8_t *pays_per_click, const uint8_t *wants_conversions, const double *pctr, const double *pcvr,
             const double *sd, double least, double *worth, double *rate, double *ecpm, double *unpaced, int64_t *most) {
    int64_t unfit = 0;
    for (int64_t at = 0; at < n; at++) {
        int64_t row = rows[at];
        double multiplier = fmin(fmax(pace[row], 0.0), pace_limit[row]);
        double conversions = wants_conversions[row] ? pcvr[at] : 1.0;
        worth[at] = multiplier * unit[row] * conversions;
        rate[at] = pays_per_click[row] ? pctr[at] * 1000 : 1.0;
        ecpm[at] = worth[at] * rate[at];
        unpaced[at] = unit[row] * conversions * rate[at];
        double highest = floor(pays_per_click[row] ? worth[at] : worth[at] / 1000);
        most[at] = isfinite(highest) ? (int64_t)highest : INT64_MIN;
        unfit += !(pctr[at] > 0 && pctr[at] < 1 && isfinite(sd[at]) && isfinite(ecpm[at]) && ecpm[at] >= least &&
                   most[at] >= 1);
    }
    return unfit;
}

/* --- who is chosen ----------------------------------------------------------------------------------------------- */

/* e^x within 2e-7, without a call, so that a compiler can do several at once (Cephes' expf). */
static inline float exponential(float x) {
    x = x > 88.0f ? 88.0f : x < -87.0f ? -87.0f : x;
    float turns = x * 1.44269504f;
    turns = (float)(int32_t)(turns + (turns < 0 ? -0.5f : 0.5f));
    float rest = x - turns * 0.693359375f + turns * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    union { int32_t bits; float value; } power = {((int32_t)turns + 127) << 23};
    return sum * power.value;
}

/* How many of the draws each of n candidates wins (exploration.choose), and who wins each. `bank`: standard normal
   numbers, BANK + draws - 1 of them. */
static void wins(int64_t n, const int64_t *ids, const double *worth, const double *odds, const double *sd,
          const uint8_t *pays_per_click, uint64_t seed, int64_t draws, const float *bank, int64_t *starts, double *won,
          int32_t *winner) {
    float most[MOST_DRAWS];
    int32_t who[MOST_DRAWS];
    for (int64_t draw = 0; draw < draws; draw++) most[draw] = -INFINITY, who[draw] = 0;
    for (int64_t at = 0; at < n; at++) {
        starts[at] = (int64_t)(mix(seed, ids[at]) & (BANK - 1));
        const float *noise = bank + starts[at];
        const float mean = (float)odds[at], spread = (float)sd[at], paid = (float)worth[at];
        float score[MOST_DRAWS];
        if (pays_per_click[at])
            for (int64_t draw = 0; draw < draws; draw++)
                score[draw] = paid * (1000.0f / (1.0f + exponential(-(noise[draw] * spread + mean))));
        else
            for (int64_t draw = 0; draw < draws; draw++) score[draw] = paid;
        for (int64_t draw = 0; draw < draws; draw++) {
            int better = score[draw] > most[draw];
            most[draw] = better ? score[draw] : most[draw];
            who[draw] = better ? (int32_t)at : who[draw];
        }
        won[at] = 0;
    }
    for (int64_t draw = 0; draw < draws; draw++) {
        winner[draw] = who[draw];
        won[who[draw]] += 1;
    }
}

/* --- as Python calls it ------------------------------------------------------------------------------------------ */

/* narrowed(eligible, starts, sizes, topic, promise, lifts, rows, stretches, wanted, needed, out) */
CALL(narrowed) {
    BEGIN(11);
    int64_t stretches = WHOLE(7), wanted = WHOLE(8);
    const int64_t *rows = MEMORY(const int64_t, 6, 0);
    int64_t ads = given.failed ? 0 : given.view[0].len / (int64_t)sizeof(int64_t);
    const uint8_t *eligible = MEMORY(const uint8_t, 0, (ads + 7) / 8);
    const int64_t *starts = MEMORY(const int64_t, 1, stretches), *sizes = MEMORY(const int64_t, 2, stretches);
    const int64_t *topic = MEMORY(const int64_t, 3, stretches);
    const double *promise = MEMORY(const double, 4, stretches), *lifts = MEMORY(const double, 5, 1);
    double needed = REAL(9);
    int64_t *out = MEMORY(int64_t, 10, ads), found = 0;
    if (!given.failed)
        found = narrowed(eligible, stretches, starts, sizes, topic, promise, lifts, rows, wanted, needed, out);
    return answered(&given, found);
}

/* chosen(rows, value, pays_per_click, ids, n, ranked, cpm_share, out) */
CALL(chosen) {
    BEGIN(8);
    int64_t n = WHOLE(4), ranked = WHOLE(5), cpm_share = WHOLE(6), found = 0;
    const int64_t *rows = MEMORY(const int64_t, 0, n), *ids = MEMORY(const int64_t, 3, 0);
    const double *value = MEMORY(const double, 1, n);
    const uint8_t *clicks = MEMORY(const uint8_t, 2, 0);
    int64_t *out = MEMORY(int64_t, 7, ranked);
    if (!given.failed) found = chosen(n, rows, value, clicks, ids, ranked, cpm_share, out);
    return answered(&given, found);
}

/* tie_ordered(rows, ids, n, seed, out) */
CALL(tie_ordered) {
    BEGIN(5);
    int64_t n = WHOLE(2), found = 0;
    const int64_t *rows = MEMORY(const int64_t, 0, n), *ids = MEMORY(const int64_t, 1, 0);
    uint64_t seed = PyLong_AsUnsignedLongLongMask(given_[3]);
    int64_t *out = MEMORY(int64_t, 4, n);
    if (!given.failed) found = tie_ordered(n, rows, ids, seed, out);
    return answered(&given, found);
}

/* bids(rows, pace, pace_limit, unit, pays_per_click, wants_conversions, pctr, pcvr, sd, n, least, out, most): `out` holds
   worth, rate, ecpm and unpaced one after another */
CALL(bids) {
    BEGIN(13);
    int64_t n = WHOLE(9), found = 0;
    const int64_t *rows = MEMORY(const int64_t, 0, n);
    const double *pace = MEMORY(const double, 1, 0), *limit = MEMORY(const double, 2, 0), *unit = MEMORY(const double, 3, 0);
    const uint8_t *clicks = MEMORY(const uint8_t, 4, 0), *conversions = MEMORY(const uint8_t, 5, 0);
    const double *pctr = MEMORY(const double, 6, n), *pcvr = MEMORY(const double, 7, n), *sd = MEMORY(const double, 8, n);
    double least = REAL(10), *out = MEMORY(double, 11, 4 * n);
    int64_t *most = MEMORY(int64_t, 12, n);
    if (!given.failed)
        found = bids(n, rows, pace, limit, unit, clicks, conversions, pctr, pcvr, sd, least, out, out + n, out + 2 * n,
                     out + 3 * n, most);
    return answered(&given, found);
}

/* wins(ids, worth, odds, sd, pays_per_click, n, seed, draws, bank, starts, won, winner) */
CALL(wins) {
    BEGIN(12);
    int64_t n = WHOLE(5), draws = WHOLE(7);
    const int64_t *ids = MEMORY(const int64_t, 0, n);
    const double *worth = MEMORY(const double, 1, n), *odds = MEMORY(const double, 2, n), *sd = MEMORY(const double, 3, n);
    const uint8_t *clicks = MEMORY(const uint8_t, 4, n);
    uint64_t seed = PyLong_AsUnsignedLongLongMask(given_[6]);
    const float *bank = MEMORY(const float, 8, BANK + draws - 1);
    int64_t *starts = MEMORY(int64_t, 9, n);
    double *won = MEMORY(double, 10, n);
    int32_t *winner = MEMORY(int32_t, 11, draws);
    if (!given.failed && draws > MOST_DRAWS) {
        PyErr_SetString(PyExc_ValueError, "too many draws");
        given.failed = 1;
    }
    if (!given.failed) wins(n, ids, worth, odds, sd, clicks, seed, draws, bank, starts, won, winner);
    return answered(&given, 0);
}

static PyMethodDef methods[] = {METHOD(narrowed), METHOD(chosen), METHOD(tie_ordered), METHOD(bids), METHOD(wins), {0}};
MODULE(kernels)
