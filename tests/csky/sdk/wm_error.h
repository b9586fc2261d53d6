/* SPDX-License-Identifier: Apache-2.0
 *
 * In place of the SDK's, spelled as there.
 */
#ifndef WM_ERROR_H
#define WM_ERROR_H

#define WM_ERR_SUCCESS 0
#define WM_ERR_FAILED -1
#define WM_ERR_INVALID_PARAM -3

#endif
