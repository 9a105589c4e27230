// SPDX-License-Identifier: MIT
#include "table.h"

static unsigned int slot(const char *word)
{
	unsigned int hash = 5381;

	while (*word)
		hash = hash * 33 + (unsigned char)*word++;
	return hash % TABLE_SIZE;
}

void table_count(struct table *table, const char *word)
{
	struct list **head = &table->slots[slot(word)];
	struct list *found = list_find(*head, word);

	if (found) {
		found->count++;
		return;
	}
	*head = list_add(*head, word);
	table->words++;
}

unsigned int table_get(const struct table *table, const char *word)
{
	struct list *found = list_find(table->slots[slot(word)], word);

	return found ? found->count : 0;
}

void table_clear(struct table *table)
{
	for (int i = 0; i < TABLE_SIZE; i++) {
		list_free(table->slots[i]);
		table->slots[i] = 0;
	}
	table->words = 0;
}
