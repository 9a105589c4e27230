/* SPDX-License-Identifier: MIT */
#ifndef TEXT_H
#define TEXT_H

#include <stdio.h>

int text_word(FILE *file, char *into, int size);

#endif
