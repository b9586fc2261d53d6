/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands' JSON has in common: one object a line, texts of files in it that may be
 * any bytes, addresses as strings.
 */
#ifndef JSON_H
#define JSON_H

#include <jansson.h> /* JSON: Debian's libjansson, small, keeps the order of keys */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Text that need not be UTF-8: then each byte beyond ASCII is a question mark. */
json_t *json_text(const char *text);
json_t *json_text_part(const char *text, size_t length);

/* 0x%08x */
json_t *json_address(uint32_t address);

/* Prints the object on a line, and frees it. */
void json_print(json_t *object, FILE *out);

#endif
