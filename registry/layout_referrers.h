/* SPDX-License-Identifier: Apache-2.0 */
/* layout_referrers — who refers to a manifest of a local OCI image layout. Layer:
 * registry/, internal to the layout source. */
#pragma once

#include "base/call.h"
#include "registry/layout_dir.h"
#include "registry/referrers.h"

/* By the `subject` of the manifests that index.json lists, the index under the tag
 * that stands in for the API, and cosign's tags. Reads every listed manifest.
 * *ret is sorted, and needs its release only after success. Errors:
 * registry/layout_dir.h, and those of the call. */
NODISCARD int layout_referrers_find(struct layout_dir *l, const struct digest *subject,
				    struct call *call, struct referrers *ret, struct err *err);
