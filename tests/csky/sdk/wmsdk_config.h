/* SPDX-License-Identifier: Apache-2.0
 *
 * In place of the SDK's: the options come from the compiler's command line.
 */
