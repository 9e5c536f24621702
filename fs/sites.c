/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/sites.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "registry/host_name.h"

#define LAYOUT_MS 5000 /* a local directory says what its repository is called */

struct site *sites_at(struct sites *s, unsigned number)
{
	lock_take(&s->lock);
	struct site *site = number < s->n ? s->v[number] : NULL;
	lock_drop(&s->lock);
	return site;
}

static struct site *by_name(struct sites *s, const char *name, bool for_packages) REQUIRES(s->lock)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i]->for_packages == for_packages && strcmp(s->v[i]->name, name) == 0)
			return s->v[i];
	}
	return NULL;
}

struct site *sites_find(struct sites *s, const char *name)
{
	char source[HOST_NAME_SIZE], spelt[HOST_NAME_SIZE];
	struct source_spec spec;
	lock_take(&s->lock);
	struct site *site = by_name(s, name, false);
	lock_drop(&s->lock);
	if (site || host_name_parse(name, source, &spec))
		return site;
	host_name_settle(&spec, NULL);
	if (host_name_spell(&spec, spelt))
		return NULL;
	lock_take(&s->lock);
	site = by_name(s, spelt, false);
	lock_drop(&s->lock);
	return site;
}

/* HOST allows all its ports. */
static bool is_allowed(const struct fs_options *o, const struct source_spec *spec)
{
	unsigned port = spec->port ? spec->port : 443;
	char source[HOST_NAME_SIZE];
	struct source_spec allowed;
	for (size_t i = 0; i < o->allow_host_count; i++) {
		if (host_name_parse(o->allow_hosts[i], source, &allowed) == 0 &&
		    strcmp(allowed.host, spec->host) == 0 &&
		    (allowed.port == 0 || allowed.port == port))
			return true;
	}
	return false;
}

static bool may_make(const struct sites *s, const char *name, char source[HOST_NAME_SIZE],
		     struct source_spec *spec)
{
	if (!s->all || host_name_parse(name, source, spec))
		return false;
	bool may = host_name_is_qualified(spec) || is_allowed(s->o, spec);
	host_name_settle(spec, source);
	return may;
}

bool sites_admit(struct sites *s, const char *name)
{
	char source[HOST_NAME_SIZE];
	struct source_spec spec;
	return sites_find(s, name) || may_make(s, name, source, &spec);
}

static void discard(struct site *site)
{
	if (site->fetcher)
		site_stop(site);
	site_close(site);
	free(site);
}

static int no_room(struct err *err)
{
	return err_set(err, -EUSERS,
		       "%u registries are in use, and this mount has no room for more: mount this "
		       "one by itself",
		       SITES_MAX);
}

/* Somebody may have made the same meanwhile: then that one counts. */
static int publish(struct sites *s, struct site *site, struct site **ret, struct err *err)
{
	lock_take(&s->lock);
	struct site *other = by_name(s, site->name, site->for_packages);
	int r = 0;
	if (!other && !s->serving)
		r = -ECANCELED;
	else if (!other && s->n == SITES_MAX)
		r = -EUSERS;
	if (!other && r == 0) {
		site->number = s->n;
		s->v[s->n++] = site;
	}
	lock_drop(&s->lock);
	if (other || r)
		discard(site);
	*ret = other ? other : site;
	return r == -EUSERS ? no_room(err) : r;
}

/* Opened, and without threads yet. */
static int make(struct sites *s, const char *name, struct site **ret, struct err *err)
{
	char spec_text[HOST_NAME_SIZE];
	struct source_spec spec;
	if (!may_make(s, name, spec_text, &spec))
		return -ENOENT;
	struct site *site = calloc(1, sizeof(*site));
	if (!site)
		return -ENOMEM;
	struct source_options o = s->o->source;
	o.spec = spec_text;
	o.public_only = !is_allowed(s->o, &spec);
	int r = host_name_spell(&spec, site->name) ? -ENOENT : site_open(site, &o, err);
	if (r)
		discard(site);
	else
		*ret = site;
	return r;
}

/* One that is open. Takes it over. */
static int add(struct sites *s, struct site *site, struct site **ret, struct err *err)
{
	int r = site_equip(site, s->o, s->store, s->refs, s->streams, err);
	if (r == 0)
		r = site_start(site, err);
	if (r) {
		discard(site);
		return r;
	}
	return publish(s, site, ret, err);
}

int sites_get(struct sites *s, const char *name, struct site **ret, struct err *err)
{
	*ret = sites_find(s, name);
	if (*ret)
		return 0;
	struct site *site = NULL;
	int r = make(s, name, &site, err);
	return r ? r : add(s, site, ret, err);
}

int sites_packages(struct sites *s, const char *registry, struct site **ret, struct err *err)
{
	lock_take(&s->lock);
	*ret = by_name(s, registry, true);
	lock_drop(&s->lock);
	if (*ret)
		return 0;
	struct site *site = calloc(1, sizeof(*site));
	if (!site)
		return -ENOMEM;
	struct source_options o = s->o->source;
	o.spec = registry;
	site->for_packages = true;
	snprintf(site->name, sizeof(site->name), "%s", registry);
	int r = site_open(site, &o, err);
	if (r) {
		discard(site);
		return r;
	}
	return add(s, site, ret, err);
}

static struct site *by_spec(struct sites *s, const struct source_spec *spec)
{
	struct site *site = NULL;
	lock_take(&s->lock);
	for (unsigned i = 0; i < s->n && !site; i++) {
		const struct site *one = s->v[i];
		if (!one->for_packages && one->spec.kind == SOURCE_REGISTRY &&
		    one->spec.port == spec->port && strcmp(one->spec.host, spec->host) == 0)
			site = s->v[i];
	}
	lock_drop(&s->lock);
	return site;
}

int sites_serving(struct sites *s, const struct source_spec *registry, struct site **ret,
		  struct err *err)
{
	struct source_spec spec = *registry;
	char name[HOST_NAME_SIZE];
	host_name_settle(&spec, NULL);
	*ret = by_spec(s, &spec);
	if (*ret)
		return 0;
	return host_name_spell(&spec, name) ? -ENOENT : sites_get(s, name, ret, err);
}

int sites_try(struct sites *s, const char *name, struct err *err)
{
	struct site *site = NULL;
	if (sites_find(s, name))
		return 0;
	int r = make(s, name, &site, err);
	if (r)
		return r;
	discard(site);
	return sites_at(s, SITES_MAX - 1) ? no_room(err) : 0;
}

/* A layout's directory is called like the one repository in it. */
static int name_layout(struct site *site, struct err *err)
{
	struct call call;
	struct names names = {0};
	call_init(&call, clock_ms() + LAYOUT_MS);
	int r = source_catalog(site->source, &call, &names, NULL, err);
	call_release(&call);
	if (r == 0 && names.n == 1 && strlen(names.v[0]) < sizeof(site->name))
		snprintf(site->name, sizeof(site->name), "%s", names.v[0]);
	else if (r == 0)
		r = err_set(err, -EPROTO, "%s: not one repository", source_title(site->source));
	names_release(&names);
	return r;
}

static int name_site(struct sites *s, struct site *site, const char *text, struct err *err)
{
	struct source_spec spec;
	int r = reference_parse_source(text, &spec, err);
	if (r == 0 && spec.kind == SOURCE_LAYOUT)
		r = name_layout(site, err);
	else if (r == 0)
		host_name_settle(&spec, NULL);
	if (r == 0 && spec.kind != SOURCE_LAYOUT && host_name_spell(&spec, site->name))
		r = err_set(err, -EINVAL,
			    "source '%s': the name looks as if a port were in it; mount it by "
			    "itself",
			    text);
	if (r == 0 && sites_find(s, site->name))
		r = err_set(err, -EINVAL,
			    "two sources would be the directory '%s'; give that host once (and "
			    "without a namespace to see all of them), or mount twice",
			    site->name);
	return r;
}

static int open_one(struct sites *s, const char *text, struct err *err)
{
	struct source_options o = s->o->source;
	struct site *site = calloc(1, sizeof(*site));
	if (!site)
		return err_set(err, -ENOMEM, "no memory for a mount");
	o.spec = text;
	site->given = true;
	snprintf(site->written, sizeof(site->written), "%s", text);
	int r = site_open(site, &o, err);
	if (r == 0 && s->several)
		r = name_site(s, site, text, err);
	if (r) {
		discard(site);
		return r;
	}
	lock_take(&s->lock);
	site->number = s->n;
	s->v[s->n++] = site;
	lock_drop(&s->lock);
	return 0;
}

int sites_open(struct sites *s, const struct fs_options *o, struct err *err)
{
	s->o = o;
	s->all = o->all;
	s->several = o->all || o->spec_count > 1;
	if (o->spec_count > SITES_MAX)
		return err_set(err, -EINVAL, "more than %u sources", SITES_MAX);
	for (size_t i = 0; i < o->spec_count; i++) {
		int r = open_one(s, o->specs[i], err);
		if (r)
			return r;
	}
	return 0;
}

int sites_equip(struct sites *s, struct store *store, struct refs *refs, struct streams *streams,
		struct err *err)
{
	int r = 0;
	struct site *site;
	s->store = store;
	s->refs = refs;
	s->streams = streams;
	for (unsigned i = 0; r == 0 && (site = sites_at(s, i)); i++)
		r = site_equip(site, s->o, store, refs, streams, err);
	return r;
}

int sites_start(struct sites *s, struct err *err)
{
	int r = 0;
	struct site *site;
	for (unsigned i = 0; r == 0 && (site = sites_at(s, i)); i++)
		r = site_start(site, err);
	lock_take(&s->lock);
	s->serving = r == 0;
	lock_drop(&s->lock);
	return r;
}

void sites_stop(struct sites *s)
{
	struct site *site;
	lock_take(&s->lock);
	s->serving = false;
	lock_drop(&s->lock);
	for (unsigned i = 0; (site = sites_at(s, i)); i++)
		site_stop(site);
}

void sites_close(struct sites *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		site_close(s->v[i]);
		free(s->v[i]);
	}
	lock_release(&s->lock);
	s->n = 0;
}
