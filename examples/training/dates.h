/* All dates of two centuries, as people write them and as computers do. */
#ifndef EXAMPLES_TRAINING_DATES_H
#define EXAMPLES_TRAINING_DATES_H

#include <stdint.h>

enum {
    DATE_COUNT = 73049,   /* 1900-01-01 to 2099-12-31 */
    DATE_STYLES = 6,      /* ways to write one */
    DATE_LENGTH = 28,     /* of the longest, in characters */
    DATE_WRITTEN = 10,    /* characters of 2024-03-14 */
    DATE_OUT_SYMBOLS = 11 /* digits and '-' */
};

typedef struct date {
    uint16_t year;
    uint8_t month, day; /* from 1 on */
    uint8_t weekday;    /* 0: Monday */
} date;

/* In their order. */
void dates_list(date dates[DATE_COUNT]);

/* As text, with a 0 behind it, at most DATE_LENGTH characters; its length. */
int date_in_style(const date *of, int style, char text[DATE_LENGTH + 1]);
/* 2024-03-14 */
void date_written(const date *of, char text[DATE_WRITTEN + 1]);

/* Symbols of characters: of texts from 1 to date_symbols() - 1, 0 stands for none; of what is
 * written 0 to DATE_OUT_SYMBOLS - 1. */
int date_symbols(void);
int32_t date_symbol(char character);
int32_t date_out_symbol(char character);
char date_out_character(int32_t symbol);

#endif
