/* SPDX-License-Identifier: GPL-2.0-only */
/* Included before every file of the module, the distribution's and ours */
#ifndef _FUSEBPF_COMPAT_H
#define _FUSEBPF_COMPAT_H

/* The kernel's own FUSE exports the same names; a second time cannot be loaded */
#define __DISABLE_EXPORTS

/* dax.c is not built: virtiofs, its only user, stays with the kernel's FUSE */
#undef CONFIG_FUSE_DAX

#endif
