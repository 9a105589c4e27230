/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before every file of the module. The kernel's own FUSE exports the
 * same functions; a second export of a name cannot be loaded.
 */
#ifndef _FUSEBPF_COMPAT_H
#define _FUSEBPF_COMPAT_H

#include <linux/export.h>

#undef EXPORT_SYMBOL
#undef EXPORT_SYMBOL_GPL
#define EXPORT_SYMBOL(sym)
#define EXPORT_SYMBOL_GPL(sym)

/* dax.c is not built: virtiofs, its only user, stays with the kernel's FUSE */
#undef CONFIG_FUSE_DAX

#endif
