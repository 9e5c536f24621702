/* SPDX-License-Identifier: Apache-2.0 */
/* xattr — the user.oci.* attributes of DESIGN §2.3. Layer: fs/. Answered from
 * memory; the manifest of a directory may have to be fetched, a blob never. */
#pragma once

#include "fs/nodes.h"
#include "fs/op.h"

/* One value: new string in *ret. -ENODATA: no such attribute here. -EINPROGRESS. */
NODISCARD int xattr_get(struct op *op, const struct node *node, const char *name, char **ret);
/* All names, each with its NUL: new buffer. -EINPROGRESS. */
NODISCARD int xattr_list(struct op *op, const struct node *node, char **ret, size_t *ret_len);
