/* SPDX-License-Identifier: Apache-2.0 */
/* home — where the files of who runs this lie. Layer: base/.
 *
 * As the environment says (XDG Base Directory Specification, "Environment variables": a path that
 * is not absolute is none). Who is started by mount(8) or by systemd may have no $HOME, and with su
 * or setpriv it may be somebody else's, which may not be looked into: then the user database knows.
 *
 * Threads: any, while none changes the environment. Blocking: the user database.
 */
#pragma once

#include "base/macros.h"

/* New strings; NULL at *ret: there is none. -ENOMEM. */
NODISCARD int home_dir(char **ret);
NODISCARD int home_config(char **ret); /* $XDG_CONFIG_HOME, ~/.config; none where that is closed,
					* in a home of somebody else's */
NODISCARD int home_cache(char **ret);  /* $XDG_CACHE_HOME, ~/.cache */
