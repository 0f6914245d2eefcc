/* What examples/align.c learns from: wrong dates would be learned without a word. */
#include <criterion/criterion.h>
#include <string.h>

#include "examples/training/dates.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static date dates[DATE_COUNT];

static void expect(const date *of, const char *written)
{
    char text[DATE_WRITTEN + 1];
    date_written(of, text);
    cr_assert_str_eq(text, written);
}

Test(dates, are_all_days_of_two_centuries)
{
    dates_list(dates);
    expect(&dates[0], "1900-01-01");
    expect(&dates[58], "1900-02-28");
    expect(&dates[59], "1900-03-01"); /* no leap year */
    expect(&dates[DATE_COUNT - 1], "2099-12-31");
    for (size_t i = 1; i < DATE_COUNT; i++) {
        char before[DATE_WRITTEN + 1], text[DATE_WRITTEN + 1];
        date_written(&dates[i - 1], before);
        date_written(&dates[i], text);
        cr_assert_lt(strcmp(before, text), 0, "%s, then %s", before, text);
    }
}

/* Leap days, ordinals, weekdays from a calendar. */
Test(dates, are_written_in_six_styles)
{
    static const struct {
        const char *written, *text;
        int style;
    } rows[] = {
        {"2024-03-14", "14 March 2024", 0},
        {"2024-03-14", "March 14, 2024", 1},
        {"2024-03-14", "14 Mar 2024", 2},
        {"2024-03-14", "the 14th of March, 2024", 3},
        {"2024-03-14", "Thursday, 14 March 2024", 4},
        {"2024-03-14", "2024, March 14th", 5},
        {"2000-02-29", "Tuesday, 29 February 2000", 4},
        {"1999-12-31", "Friday, 31 December 1999", 4},
        {"1969-07-20", "Sunday, 20 July 1969", 4},
        {"2024-09-04", "Wednesday, 4 September 2024", 4},
        {"1900-01-01", "Monday, 1 January 1900", 4},
        {"2001-05-01", "the 1st of May, 2001", 3},
        {"2001-05-02", "the 2nd of May, 2001", 3},
        {"2001-05-03", "the 3rd of May, 2001", 3},
        {"2001-05-04", "the 4th of May, 2001", 3},
        {"2001-05-10", "the 10th of May, 2001", 3},
        {"2001-05-11", "the 11th of May, 2001", 3},
        {"2001-05-12", "the 12th of May, 2001", 3},
        {"2001-05-13", "the 13th of May, 2001", 3},
        {"2001-05-20", "the 20th of May, 2001", 3},
        {"2001-05-21", "the 21st of May, 2001", 3},
        {"2001-05-22", "the 22nd of May, 2001", 3},
        {"2001-05-23", "the 23rd of May, 2001", 3},
        {"2001-05-30", "the 30th of May, 2001", 3},
        {"2001-05-31", "the 31st of May, 2001", 3},
    };
    dates_list(dates);
    for (size_t row = 0; row < COUNT(rows); row++) {
        char written[DATE_WRITTEN + 1] = "", text[DATE_LENGTH + 1];
        size_t i = 0;
        while (i < DATE_COUNT && strcmp(written, rows[row].written) != 0)
            date_written(&dates[i++], written);
        const int length = date_in_style(&dates[i - 1], rows[row].style, text);
        cr_assert_str_eq(text, rows[row].text);
        cr_assert_eq((size_t)length, strlen(text));
    }
}

/* Every character has a symbol, and the longest text just fits. */
Test(dates, have_symbols)
{
    int longest = 0;
    dates_list(dates);
    for (size_t i = 0; i < DATE_COUNT; i++)
        for (int style = 0; style < DATE_STYLES; style++) {
            char text[DATE_LENGTH + 1];
            const int length = date_in_style(&dates[i], style, text);
            cr_assert_leq(length, DATE_LENGTH);
            longest = length > longest ? length : longest;
            for (int at = 0; at < length; at++) {
                const int32_t symbol = date_symbol(text[at]);
                cr_assert(symbol > 0 && symbol < date_symbols(), "'%c' of %s", text[at], text);
            }
        }
    cr_assert_eq(longest, DATE_LENGTH);
    for (int32_t symbol = 0; symbol < DATE_OUT_SYMBOLS; symbol++)
        cr_assert_eq(date_out_symbol(date_out_character(symbol)), symbol);
}
