// SPDX-License-Identifier: MIT
#include "words.h"
#include "text.h"

int words_in(const char *path, struct table *table)
{
	char word[WORD_SIZE];
	FILE *file = fopen(path, "r");
	int found = 0;

	if (!file)
		return -1;
	while (text_word(file, word, sizeof(word))) {
		table_count(table, word);
		found++;
	}
	fclose(file);
	return found;
}
