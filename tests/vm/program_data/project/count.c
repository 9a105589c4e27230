// SPDX-License-Identifier: MIT
#include "words.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	static struct table table;

	for (int i = 1; i < argc; i++) {
		int found = words_in(argv[i], &table);

		if (found < 0) {
			perror(argv[i]);
			return 1;
		}
		printf("%s: %d words, %u different\n", argv[i], found, table.words);
	}
	table_clear(&table);
	return 0;
}
