/* SPDX-License-Identifier: Apache-2.0 */
/* Progress: on a terminal a line for each blob that is under way, replaced as they move; else a
 * line for each that is done. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/units.h"
#include "fs/cli/command.h"
#include "fs/cli/pull_impl.h"

#define WIDTH_DEFAULT 80
#define SHORT_DIGEST  19  /* "sha256:" and 12 digits */
#define SMOOTH        0.3 /* how much the last look counts in a rate */
#define LOOK_MS       400 /* between two looks for a rate */

void pull_show_init(struct pull_show *s)
{
	struct winsize size;
	*s = (struct pull_show){.width = WIDTH_DEFAULT};
	s->terminal = isatty(STDOUT_FILENO);
	if (s->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		s->width = size.ws_col;
}

/* Progress that stands there goes. */
static void wipe(struct pull_show *s)
{
	if (s->lines > 0)
		printf("\033[%uA\033[J", s->lines);
	s->lines = 0;
}

static uint64_t number(const json_t *v, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(v, key));
	return n > 0 ? (uint64_t)n : 0;
}

static const char *text(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));
	return s != NULL ? s : "";
}

void pull_show_failure(struct pull_show *s, const char *reference, const char *why,
		       const char *hint)
{
	wipe(s);
	fflush(stdout);
	s->failed = true;
	s->failures++;
	complain(CLI_FAILED, "pull: %s: %s%s%s", reference, why, hint[0] ? "; " : "", hint);
	if (s->over != NULL)
		s->over(s->ctx, reference);
}

static void show_event(struct pull_show *s, const json_t *event)
{
	const char *what = text(event, "event");
	char size[UNITS_SIZE_MAX];
	struct err name;
	if (strcmp(what, "failed") == 0) {
		pull_show_failure(s, text(event, "reference"), text(event, "text"),
				  text(event, "hint"));
	} else if (strcmp(what, "reference") == 0) {
		(void)err_set(&name, 0, "%s  %s", text(event, "reference"), text(event, "digest"));
		puts(name.text);
		s->done++;
		if (s->over != NULL)
			s->over(s->ctx, text(event, "reference"));
	} else if (strcmp(what, "blob") == 0) {
		units_format_size(number(event, "size"), size);
		(void)err_set(&name, 0, "%.*s", SHORT_DIGEST, text(event, "digest"));
		printf("%s  %9s%s\n", name.text, size,
		       number(event, "received") == 0 ? "  was here" : "");
	}
}

/* The place of a blob, kept from one look to the next. */
static struct pull_rate *rate_of(struct pull_show *s, const char *digest, const json_t *active)
{
	struct pull_rate *unused = NULL;
	for (size_t i = 0; i < PULL_BLOBS; i++) {
		struct pull_rate *r = &s->rates[i];
		bool there = false;
		if (strncmp(r->digest, digest, SHORT_DIGEST) == 0)
			return r;
		for (size_t k = 0; k < json_array_size(active) && !there; k++)
			there = strncmp(text(json_array_get(active, k), "digest"), r->digest,
					SHORT_DIGEST) == 0;
		if (!there)
			unused = r;
	}
	if (unused != NULL) {
		*unused = (struct pull_rate){.at_ms = 0};
		snprintf(unused->digest, sizeof(unused->digest), "%.*s", SHORT_DIGEST, digest);
	}
	return unused;
}

static void look(struct pull_rate *r, uint64_t have, int64_t now)
{
	if (r->at_ms == 0 || have < r->have) {
		r->at_ms = now;
		r->have = have;
	} else if (now - r->at_ms >= LOOK_MS) {
		double rate = (double)(have - r->have) * 1000.0 / (double)(now - r->at_ms);
		r->rate = r->rate > 0 ? SMOOTH * rate + (1 - SMOOTH) * r->rate : rate;
		r->at_ms = now;
		r->have = have;
	}
}

static void format_left(double seconds, char out[16])
{
	if (seconds < 100)
		snprintf(out, 16, "%.0fs", seconds);
	else if (seconds < 6000)
		snprintf(out, 16, "%.0fm", seconds / 60);
	else if (seconds < 360000)
		snprintf(out, 16, "%.0fh", seconds / 3600);
	else
		snprintf(out, 16, "days");
}

static void show_active(struct pull_show *s, const json_t *blob, const json_t *active)
{
	char line[160], have[UNITS_SIZE_MAX], size[UNITS_SIZE_MAX], rate[UNITS_SIZE_MAX], left[16];
	uint64_t got = number(blob, "have"), all = number(blob, "size");
	struct pull_rate *r = rate_of(s, text(blob, "digest"), active);
	if (r == NULL)
		return;
	look(r, got, clock_ms());
	units_format_size(got, have);
	units_format_size(all, size);
	int n = snprintf(line, sizeof(line), "%.*s  %9s of %9s %3u%%", SHORT_DIGEST, r->digest,
			 have, size, all > 0 ? (unsigned)((double)got * 100 / (double)all) : 0);
	if (r->rate >= 1) {
		units_format_size((uint64_t)r->rate, rate);
		format_left((double)(all - got) / r->rate, left);
		snprintf(line + n, sizeof(line) - (size_t)n, "  %9s/s  %s left", rate, left);
	}
	printf("%.*s\n", (int)s->width - 1, line);
	s->lines++;
}

static void show_progress(struct pull_show *s, const json_t *report)
{
	const json_t *active = json_object_get(report, "active");
	char received[UNITS_SIZE_MAX], present[UNITS_SIZE_MAX], bytes[UNITS_SIZE_MAX], line[256];
	for (size_t i = 0; i < json_array_size(active); i++)
		show_active(s, json_array_get(active, i), active);
	units_format_size(number(report, "received"), received);
	units_format_size(number(report, "present"), present);
	units_format_size(number(report, "bytes"), bytes);
	snprintf(line, sizeof(line),
		 "%" PRIu64 " of %" PRIu64 " references; %s received, %s here, of %s",
		 number(report, "done") + number(report, "failed"), number(report, "references"),
		 received, present, bytes);
	printf("%.*s\n", (int)s->width - 1, line);
	s->lines++;
}

void pull_show(struct pull_show *s, const json_t *report)
{
	const json_t *events = json_object_get(report, "events");
	wipe(s);
	for (size_t i = 0; i < json_array_size(events); i++)
		show_event(s, json_array_get(events, i));
	s->now_received = number(report, "received");
	s->now_present = number(report, "present");
	s->now_blobs_received = number(report, "blobs_received");
	s->now_blobs_present = number(report, "blobs_present");
	if (s->terminal && strcmp(text(report, "state"), "done") != 0)
		show_progress(s, report);
	fflush(stdout);
}

void pull_show_settle(struct pull_show *s)
{
	wipe(s);
	s->received += s->now_received;
	s->present += s->now_present;
	s->blobs_received += s->now_blobs_received;
	s->blobs_present += s->now_blobs_present;
	s->now_received = s->now_present = s->now_blobs_received = s->now_blobs_present = 0;
}

void pull_show_summary(struct pull_show *s, uint64_t references)
{
	char received[UNITS_SIZE_MAX], present[UNITS_SIZE_MAX];
	units_format_size(s->received, received);
	units_format_size(s->present, present);
	printf("pulled %" PRIu64 " of %" PRIu64 ": %s received in %" PRIu64
	       " blob%s, %s in %" PRIu64 " blob%s %s here\n",
	       references - (s->failures < references ? s->failures : references), references,
	       received, s->blobs_received, s->blobs_received == 1 ? "" : "s", present,
	       s->blobs_present, s->blobs_present == 1 ? "" : "s",
	       s->blobs_present == 1 ? "was" : "were");
}
