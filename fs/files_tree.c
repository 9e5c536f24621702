/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/files_tree.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer_class.h"

#define EXTENSION_MAX 32 /* bytes with the dot: what is longer is no extension */
#define FIRST_ROOM    16
#define UTF8_TAIL_MAX 3 /* bytes of a character behind its first */

/* A name in use: unique in its directory also when case is folded. */
struct slot {
	size_t parent, node;
	char folded[];
};

static int compare_slots(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->folded, y->folded);
}

static struct slot *slot_new(size_t parent, const char *name)
{
	size_t len = strlen(name);
	struct slot *s = malloc(sizeof(*s) + len + 1);

	if (s == NULL)
		return NULL;
	s->parent = parent;
	s->node = 0;
	for (size_t i = 0; i <= len; i++)
		s->folded[i] =
		    (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
	return s;
}

/* The node of that name, or -ENOENT, -ENOMEM. */
static int find(const struct files_tree *t, size_t parent, const char *name, size_t *ret)
{
	AUTO_FREE struct slot *key = slot_new(parent, name);
	if (key == NULL)
		return -ENOMEM;
	void *const *found = tfind(key, &t->taken, compare_slots);
	if (found == NULL)
		return -ENOENT;
	*ret = ((const struct slot *)*found)->node;
	return 0;
}

static int make_room(struct files_tree *t)
{
	if (t->n < t->room)
		return 0;
	size_t room = t->room == 0 ? FIRST_ROOM : t->room * 2;
	struct files_node *v = reallocarray(t->v, room, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	t->v = v;
	t->room = room;
	return 0;
}

/* The name must be free. */
static int add(struct files_tree *t, size_t parent, const char *name, enum file_kind kind,
	       size_t layer)
{
	AUTO_FREE struct slot *slot = slot_new(parent, name);
	AUTO_FREE char *copy = strdup(name);

	if (slot == NULL || copy == NULL || make_room(t) < 0)
		return -ENOMEM;
	slot->node = t->n;
	if (tsearch(slot, &t->taken, compare_slots) == NULL)
		return -ENOMEM;
	slot = NULL; /* the tree's */
	t->v[t->n++] = (struct files_node){
	    .name = steal_ptr(&copy), .kind = kind, .parent = parent, .layer = layer};
	return 0;
}

/* Components */

struct part {
	const char *s;
	size_t len;
};

/* The path of a title, cleaned: at most NAMES_DEPTH_MAX parts, the last ones. */
struct path {
	struct part ring[NAMES_DEPTH_MAX];
	size_t first, count;
};

static struct part path_part(const struct path *p, size_t i)
{
	return p->ring[(p->first + i) % NAMES_DEPTH_MAX];
}

static void path_push(struct path *p, struct part part)
{
	p->ring[(p->first + p->count) % NAMES_DEPTH_MAX] = part;
	if (p->count < NAMES_DEPTH_MAX)
		p->count++;
	else
		p->first = (p->first + 1) % NAMES_DEPTH_MAX;
}

static void path_parse(const char *title, struct path *ret)
{
	ret->first = ret->count = 0;
	for (const char *s = title; *s != '\0';) {
		struct part part = {s, strcspn(s, "/\\")};
		s += part.len;
		s += *s != '\0' ? 1 : 0;
		if (part.len == 0 || (part.len == 1 && part.s[0] == '.'))
			continue;
		if (part.len == 2 && memcmp(part.s, "..", 2) == 0)
			ret->count -= ret->count > 0 ? 1 : 0;
		else
			path_push(ret, part);
	}
}

/* Bytes of the character at s that must not stand in a name; 0: it may. */
static size_t control_len(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	if (p[0] < 0x20 || p[0] == 0x7f)
		return 1;
	if (len >= 2 && p[0] == 0xc2 && p[1] < 0xa0)
		return 2;
	if (len >= 3 && p[0] == 0xe2 && p[1] == 0x80 &&
	    ((p[2] >= 0xa8 && p[2] <= 0xae) || p[2] == 0x8e || p[2] == 0x8f))
		return 3;
	return len >= 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9 ? 3 : 0;
}

/* New; NULL: no memory. */
static char *sanitise(struct part part)
{
	char *out = malloc(part.len + 1);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < part.len;) {
		size_t bad = control_len(part.s + i, part.len - i);
		out[n++] = bad > 0 ? '_' : part.s[i];
		i += bad > 0 ? bad : 1;
	}
	out[n] = '\0';
	return out;
}

/* Stem, mark and extension in NAME_MAX bytes; the stem is cut where it must be,
 * not inside a character. */
static void fit(const char *name, const char *mark, char ret[NAME_MAX + 1])
{
	size_t len = strlen(name), mark_len = strlen(mark);
	const char *dot = strrchr(name, '.');
	size_t ext_len = dot != NULL && dot != name ? strlen(dot) : 0;
	if (ext_len > EXTENSION_MAX)
		ext_len = 0;
	size_t stem = len - ext_len;
	size_t room = NAME_MAX - ext_len - mark_len;
	if (stem > room) {
		stem = room;
		while (stem > room - UTF8_TAIL_MAX && ((unsigned char)name[stem] & 0xc0) == 0x80)
			stem--;
	}
	memcpy(ret, name, stem);
	memcpy(ret + stem, mark, mark_len);
	memcpy(ret + stem + mark_len, name + len - ext_len, ext_len + 1);
}

/* Building */

int files_tree_init(struct files_tree *t)
{
	*t = (struct files_tree){0};
	int rc = make_room(t);
	if (rc < 0)
		return rc;
	t->v[0] = (struct files_node){.name = strdup(""), .kind = FILE_KIND_DIR};
	t->n = 1;
	return t->v[0].name != NULL ? 0 : -ENOMEM;
}

/* The directory of one part below `parent`; -ENOENT: there is none, and it may
 * not be made. */
static int enter(struct files_tree *t, size_t parent, struct part part, bool make, size_t *ret)
{
	char fitted[NAME_MAX + 1];
	AUTO_FREE char *clean = sanitise(part);
	if (clean == NULL)
		return -ENOMEM;
	fit(clean, "", fitted);
	size_t found = 0;
	int rc = find(t, parent, fitted, &found);
	if (rc == -ENOENT && make && t->dirs < FILES_DIRS_MAX) {
		found = t->n;
		rc = add(t, parent, fitted, FILE_KIND_DIR, 0);
		t->dirs++;
	}
	if (rc == 0 && t->v[found].kind != FILE_KIND_DIR)
		rc = -ENOENT;
	if (rc == 0)
		*ret = found;
	return rc;
}

static int enter_all(struct files_tree *t, const struct path *p, bool make, size_t *ret)
{
	size_t at = 0;

	for (size_t i = 0; i + 1 < p->count; i++) {
		int rc = enter(t, at, path_part(p, i), make, &at);
		if (rc == -ENOENT)
			break;
		if (rc < 0)
			return rc;
	}
	*ret = at;
	return 0;
}

int files_tree_add_dirs(struct files_tree *t, const char *title)
{
	struct path p;
	size_t at;

	path_parse(title, &p);
	return enter_all(t, &p, true, &at);
}

/* The name that the title asks for, whole: cut later. New. */
static char *wanted_name(const struct path *p, const struct files_add *a)
{
	struct part last = p->count > 0 ? path_part(p, p->count - 1) : (struct part){"_", 1};
	char *clean = sanitise(last);
	char *longer;

	if (clean == NULL || a->ext == NULL || name_has_extension(clean, a->ext) ||
	    name_has_extension(clean, a->other_ext))
		return clean;
	if (asprintf(&longer, "%s.%s", clean, a->ext) < 0)
		longer = NULL;
	free(clean);
	return longer;
}

/* A free name: as wanted, with the mark, with the number, with both numbers.
 * The last loop ends, because each try that fails is another file's name. */
static int free_name(const struct files_tree *t, size_t dir, const char *wanted,
		     const struct files_add *a, char ret[NAME_MAX + 1])
{
	char mark[64] = "";
	size_t other;

	for (size_t i = 0;; i++) {
		fit(wanted, mark, ret);
		int rc = find(t, dir, ret, &other);
		if (rc != 0)
			return rc == -ENOENT ? 0 : rc;
		if (i == 0 && a->mark[0] != '\0')
			(void)snprintf(mark, sizeof(mark), "~%s", a->mark);
		else if (i <= 1)
			(void)snprintf(mark, sizeof(mark), "~%zu", a->layer);
		else
			(void)snprintf(mark, sizeof(mark), "~%zu~%zu", a->layer, i);
	}
}

int files_tree_add_file(struct files_tree *t, const struct files_add *a)
{
	char name[NAME_MAX + 1];
	struct path p;
	size_t dir;

	path_parse(a->title, &p);
	int rc = enter_all(t, &p, false, &dir);
	if (rc < 0)
		return rc;
	AUTO_FREE char *wanted = wanted_name(&p, a);
	if (wanted == NULL)
		return -ENOMEM;
	rc = free_name(t, dir, wanted, a, name);
	return rc < 0 ? rc
		      : add(t, dir, name, a->loose ? FILE_KIND_LOOSE : FILE_KIND_LAYER, a->layer);
}

/* Finishing */

static int compare_nodes(const void *a, const void *b)
{
	const struct files_node *x = *(struct files_node *const *)a;
	const struct files_node *y = *(struct files_node *const *)b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* All but the root, grouped by parent and sorted by name; children of the node
 * i are from starts[i] to starts[i + 1]. */
static void group(struct files_tree *t, struct files_node **sorted, size_t *starts)
{
	size_t at = 0;

	for (size_t i = 1; i < t->n; i++)
		sorted[i - 1] = &t->v[i];
	if (t->n > 2)
		qsort(sorted, t->n - 1, sizeof(struct files_node *), compare_nodes);
	for (size_t i = 0; i < t->n; i++) {
		starts[i] = at;
		while (at < t->n - 1 && sorted[at]->parent == i)
			at++;
	}
	starts[t->n] = at;
}

int files_tree_finish(struct files_tree *t, struct file_entry **ret, size_t *ret_count)
{
	AUTO_FREE struct file_entry *out = calloc(t->n, sizeof(*out));
	AUTO_FREE size_t *order = calloc(t->n, sizeof(*order)); /* out[i] is v[order[i]] */
	AUTO_FREE size_t *starts = calloc(t->n + 1, sizeof(*starts));
	AUTO_FREE struct files_node **sorted = calloc(t->n, sizeof(struct files_node *));
	if (out == NULL || order == NULL || starts == NULL || sorted == NULL)
		return -ENOMEM;

	group(t, sorted, starts);
	size_t tail = 1;
	for (size_t i = 0; i < t->n; i++) {
		struct files_node *node = &t->v[order[i]];
		node->place = i;
		out[i] = (struct file_entry){.name = steal_ptr(&node->name),
					     .kind = node->kind,
					     .parent = t->v[node->parent].place,
					     .layer = node->layer,
					     .first = tail};
		for (size_t k = starts[order[i]]; k < starts[order[i] + 1]; k++)
			order[tail++] = (size_t)(sorted[k] - t->v);
		out[i].count = tail - out[i].first;
	}
	*ret = steal_ptr(&out);
	*ret_count = t->n;
	return 0;
}

void files_tree_release(struct files_tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].name);
	free(t->v);
	tdestroy(t->taken, free);
	*t = (struct files_tree){0};
}
