/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

const uint32_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    10,    50,     100,    500,     1000,    5000,     10000,
    50000, 100000, 500000, 1000000, 5000000, 10000000, 60000000,
};

void histogram_add(struct histogram *h, int64_t us)
{
	uint64_t took = us > 0 ? (uint64_t)us : 0;
	unsigned i = 0;
	while (i < HISTOGRAM_BOUNDS && took > histogram_bounds_us[i])
		i++;
	atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_us, took, memory_order_relaxed);
}

void histogram_read(const struct histogram *h, struct histogram_view *ret)
{
	*ret = (struct histogram_view){0};
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		ret->buckets[i] = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
		ret->count += ret->buckets[i];
	}
	ret->sum_us = atomic_load_explicit(&h->sum_us, memory_order_relaxed);
}
