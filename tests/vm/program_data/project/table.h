/* SPDX-License-Identifier: MIT */
#ifndef TABLE_H
#define TABLE_H

#include "list.h"

#define TABLE_SIZE 64

struct table {
	struct list *slots[TABLE_SIZE];
	unsigned int words;
};

void table_count(struct table *table, const char *word);
unsigned int table_get(const struct table *table, const char *word);
void table_clear(struct table *table);

#endif
