import { defineConfig } from "vitest/config";

// Node drives Chromium (playwright-core) against the built window; one browser, one file at a time.
export default defineConfig({
  test: {
    include: ["tests/browser/**/*.spec.ts"],
    environment: "node",
    globalSetup: ["tests/browser/setup.ts"],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
