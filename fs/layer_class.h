/* SPDX-License-Identifier: Apache-2.0 */
/* layer_class — what a layer is, as far as its descriptor says. Layer: fs/; a
 * leaf without I/O, over registry/manifest.h.
 *
 * The media type decides; where it is one of those that producers put on
 * anything (`oras push` calls a raw file a tar layer), the extension of the
 * title does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "registry/manifest.h"

struct layer_class {
	const char *ext; /* "wasm", "tar.gz", "json", …; "bin" where nothing is known; static */
	bool wasm;       /* declared to be Wasm, binary or text */
	bool tar;        /* an archive */
	bool open;       /* neither type nor title decide: it may be Wasm all the same */
};

void layer_classify(const struct manifest_entry *layer, struct layer_class *ret);

/* Of a container image, whose tar layers make a root file system. */
bool media_type_is_image_config(const char *media_type);
bool media_type_is_json(const char *media_type);

/* Whether the name ends in "." and this extension, in whatever case. */
bool name_has_extension(const char *name, const char *ext);
