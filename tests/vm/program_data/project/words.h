/* SPDX-License-Identifier: MIT */
#ifndef WORDS_H
#define WORDS_H

#include "table.h"

#define WORD_SIZE 64

int words_in(const char *path, struct table *table);

#endif
