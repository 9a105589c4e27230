// SPDX-License-Identifier: MIT
#include "text.h"

#include <ctype.h>

/* The next word in lower case, 0 at the end of the file. */
int text_word(FILE *file, char *into, int size)
{
	int length = 0;
	int c;

	while ((c = getc(file)) != EOF) {
		if (isalnum(c) && length < size - 1)
			into[length++] = tolower(c);
		else if (!isalnum(c) && length)
			break;
	}
	into[length] = 0;
	return length;
}
