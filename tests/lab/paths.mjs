// Where things are: the repository, what cargo built, and where tests may write.

import { accessSync, constants, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's top folder. */
export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** cargo's output folder; `CARGO_TARGET_DIR` is honoured. */
export const target = process.env.CARGO_TARGET_DIR
  ? path.resolve(repository, process.env.CARGO_TARGET_DIR)
  : path.join(repository, 'target');

/** Folder for what takes long to generate, and compiled helpers; kept between runs as a cache. */
export const labFolder = path.join(target, 'lab');
/** Folder for screenshots that people may look at after a run. */
export const screenshotFolder = path.join(target, 'screenshots');

/** Makes the folder when it is not there and returns it. */
export function folder(...parts) {
  const made = path.join(...parts);
  mkdirSync(made, { recursive: true });
  return made;
}

/**
 * A binary of this workspace. `AHOY_PROFILE=release` takes the release build.
 * Throws when it was not built: a test without its subject has to fail.
 */
export function binary(name, profile = process.env.AHOY_PROFILE ?? 'debug') {
  const file = path.join(target, profile, name);
  try {
    accessSync(file, constants.X_OK);
  } catch {
    throw new Error(`${file} is missing; build it first (scripts/test does)`);
  }
  return file;
}

/** A system program by name. Throws with the name when it is not installed. */
export function program(name) {
  // Debian gives its users no sbin folders, where depmod and others are.
  for (const part of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    const file = path.join(part, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not in this folder
    }
  }
  throw new Error(`the program "${name}" is not installed; scripts/setup installs what the tests need`);
}
