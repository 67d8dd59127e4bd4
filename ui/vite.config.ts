import { paraglideVitePlugin } from "@inlang/paraglide-js";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Mode "browsertest" builds the same window with the fake backend beside it (tests/browser).
// A production build holds no line of it: scripts/check-bundle.mjs looks.
export default defineConfig(({ mode }) => ({
  plugins: [
    paraglideVitePlugin({
      project: "./project.inlang",
      outdir: "./src/paraglide",
      emitTsDeclarations: true,
      strategy: ["baseLocale"],
    }),
    svelte(),
  ],
  define: {
    __FAKE_BACKEND__: JSON.stringify(mode === "browsertest" || mode === "development"),
  },
  clearScreen: false,
  server: { host: "127.0.0.1", port: 1420, strictPort: true },
  build: {
    outDir: mode === "browsertest" ? "dist-browsertest" : "dist",
    target: ["safari16.4", "chrome110"],
    // Fonts stay files: a data: URL would need `font-src data:` in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
  },
}));
