// @ts-check

import { fileURLToPath } from 'node:url';

/** The checkout, or the folder of the installed package, without a slash at its end. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
