// SPDX-License-Identifier: MIT
#include "words.h"

#include <stdio.h>

#define CHECK(condition)                                      \
	do {                                                  \
		if (!(condition)) {                           \
			printf("failed: %s\n", #condition);   \
			return 1;                             \
		}                                             \
	} while (0)

int main(void)
{
	static struct table table;
	FILE *file = fopen("check.txt", "w");

	CHECK(file);
	CHECK(fputs("One two, two THREE three three\n", file) >= 0);
	CHECK(fclose(file) == 0);
	CHECK(words_in("check.txt", &table) == 6);
	CHECK(table.words == 3);
	CHECK(table_get(&table, "three") == 3);
	CHECK(table_get(&table, "four") == 0);
	CHECK(words_in("no such file", &table) == -1);
	table_clear(&table);
	CHECK(remove("check.txt") == 0);
	puts("words: all checks passed");
	return 0;
}
