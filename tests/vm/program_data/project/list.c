// SPDX-License-Identifier: MIT
#include "list.h"

#include <stdlib.h>
#include <string.h>

struct list *list_add(struct list *head, const char *word)
{
	struct list *entry = malloc(sizeof(*entry));

	if (!entry)
		abort();
	entry->next = head;
	entry->word = strdup(word);
	entry->count = 1;
	return entry;
}

struct list *list_find(struct list *head, const char *word)
{
	while (head && strcmp(head->word, word))
		head = head->next;
	return head;
}

void list_free(struct list *head)
{
	while (head) {
		struct list *next = head->next;

		free(head->word);
		free(head);
		head = next;
	}
}
