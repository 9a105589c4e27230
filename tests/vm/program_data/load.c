// SPDX-License-Identifier: MIT
/* Loads a shared library and counts the words of a file with it. */
#include "words.h"

#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	static struct table table;
	int (*count)(const char *path, struct table *table);
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;

	if (!library) {
		puts(dlerror());
		return 2;
	}
	count = dlsym(library, "words_in");
	printf("%d words\n", count ? count("load.c", &table) : -1);
	return dlclose(library);
}
