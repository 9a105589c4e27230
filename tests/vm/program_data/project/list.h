/* SPDX-License-Identifier: MIT */
#ifndef LIST_H
#define LIST_H

struct list {
	struct list *next;
	char *word;
	unsigned int count;
};

struct list *list_add(struct list *head, const char *word);
struct list *list_find(struct list *head, const char *word);
void list_free(struct list *head);

#endif
