/* SPDX-License-Identifier: Apache-2.0 */
/* How exchanges ended. All but http_outcomes in the I/O thread. */
#include "base/clock.h"
#include "registry/http_impl.h"

static enum source_outcome outcome_of_status(int status)
{
	static const enum source_outcome classes[] = {SOURCE_OUTCOME_2XX, SOURCE_OUTCOME_3XX,
						      SOURCE_OUTCOME_4XX, SOURCE_OUTCOME_5XX};
	return status >= 200 && status < 600 ? classes[status / 100 - 2] : SOURCE_OUTCOME_OTHER;
}

static enum source_outcome outcome_of(enum http_fault fault, int status)
{
	switch (fault) {
	case HTTP_FAULT_NONE:
		return outcome_of_status(status);
	case HTTP_FAULT_CALL:
		return status ? outcome_of_status(status) : SOURCE_OUTCOME_GIVEN_UP;
	case HTTP_FAULT_RESOLVE:
		return SOURCE_OUTCOME_RESOLVE;
	case HTTP_FAULT_CONNECT:
		return SOURCE_OUTCOME_CONNECT;
	case HTTP_FAULT_TLS:
		return SOURCE_OUTCOME_TLS;
	case HTTP_FAULT_CERTIFICATE:
		return SOURCE_OUTCOME_CERTIFICATE;
	case HTTP_FAULT_ADDRESS:
		return SOURCE_OUTCOME_ADDRESS;
	case HTTP_FAULT_PROXY:
		return SOURCE_OUTCOME_PROXY;
	case HTTP_FAULT_CONNECT_SLOW:
	case HTTP_FAULT_TLS_SLOW:
	case HTTP_FAULT_SILENT:
		return SOURCE_OUTCOME_TIMEOUT;
	case HTTP_FAULT_SLOW:
		return SOURCE_OUTCOME_SLOW;
	case HTTP_FAULT_CUT:
		return SOURCE_OUTCOME_CUT;
	case HTTP_FAULT_PROTOCOL:
		return SOURCE_OUTCOME_PROTOCOL;
	case HTTP_FAULT_LOCAL:
		break;
	}
	return SOURCE_OUTCOME_LOCAL;
}

void http_count(struct http_exchange *x, enum http_fault fault)
{
	int64_t until_us = x->answered_us ? x->answered_us : clock_us();
	enum source_outcome o = outcome_of(fault, x->answered_us ? x->status : 0);

	if (x->begun_us)
		histogram_add(&x->http->outcomes[o], until_us - x->begun_us);
}

void http_count_left(struct http_exchange *x)
{
	bool judged = x->fault == HTTP_FAULT_SILENT || x->fault == HTTP_FAULT_SLOW ||
		      x->fault == HTTP_FAULT_PROXY;

	http_count(x, judged ? x->fault : HTTP_FAULT_CALL);
}

void http_outcomes(const struct http *h, struct source_requests *ret)
{
	for (unsigned i = 0; i < SOURCE_OUTCOMES; i++)
		histogram_read(&h->outcomes[i], &ret->by_outcome[i]);
	ret->bytes = http_bytes(h);
}
