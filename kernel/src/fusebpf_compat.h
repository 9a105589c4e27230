/* SPDX-License-Identifier: GPL-2.0-only */
/* Included before every file of the module, the distribution's and ours */
#ifndef _FUSEBPF_COMPAT_H
#define _FUSEBPF_COMPAT_H

/* Form of the sources: a module beside the kernel's FUSE, not part of it */
#define FUSEBPF_MODULE
#define CONFIG_FUSE_BPF 1

/* The kernel's own FUSE exports the same names; a second time cannot be loaded */
#define __DISABLE_EXPORTS

/* dax.c is not built: virtiofs, its only user, stays with the kernel's FUSE */
#undef CONFIG_FUSE_DAX

/* dev_uring.c is not built: it takes answers without what fuse-bpf adds */
#undef CONFIG_FUSE_IO_URING

#endif
