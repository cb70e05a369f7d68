/* Counts words.
 *
 * Reads text from standard input. A word is a run of the letters a-z and A-Z; every other byte separates words.
 * Letter case does not matter. Prints one line for each different word, "COUNT WORD", the word in lower case,
 * the highest count first and words of the same count in alphabetical order. Words may be of any length and
 * there may be any number of them. Prints nothing if there is no word. Exits with 0.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *word;
    int count;
};

static struct entry *entries;
static size_t used, room;

static void add(const char *word) {
    for (size_t i = 1; i < used; i++) {
        if (strcmp(entries[i].word, word) == 0) {
            entries[i].count++;
            return;
        }
    }
    if (used == room) {
        room = room ? room * 2 : 8;
        entries = realloc(entries, room);
    }
    entries[used].word = malloc(strlen(word));
    strcpy(entries[used].word, word);
    entries[used].count = 1;
    used++;
}

static int compare(const void *left, const void *right) {
    const struct entry *a = left, *b = right;
    if (a->count != b->count)
        return a->count - b->count;
    return strcmp(a->word, b->word);
}

int main(void) {
    char word[32];
    size_t length = 0;
    int c;
    while ((c = getchar()) != EOF) {
        if (isalpha(c)) {
            word[length++] = (char)tolower(c);
        } else if (length > 0) {
            word[length] = '\0';
            add(word);
            length = 0;
        }
    }
    qsort(entries, used, sizeof *entries, compare);
    for (size_t i = 0; i < used; i++)
        printf("%d %s\n", entries[i].count, entries[i].word);
    return 0;
}
