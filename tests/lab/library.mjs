// Libraries in C that are put before the system's (`LD_PRELOAD`) in the programs under test.

import { existsSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { folder, labFolder, repository } from './paths.mjs';
import { check } from './process.mjs';

/** Compiles `tests/lab/SOURCE` into cargo's target folder when it is newer; returns the library. */
export async function library(source) {
  const file = path.join(repository, 'tests/lab', source);
  const built = path.join(folder(labFolder), `lib${path.basename(source, '.c')}.so`);
  if (!existsSync(built) || statSync(built).mtimeMs < statSync(file).mtimeMs) {
    const unfinished = `${built}.${process.pid}`;
    await check('cc', ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', unfinished, file,
      '-ldl', '-lpthread'], { timeoutMs: 60_000 });
    renameSync(unfinished, built);
  }
  return built;
}
