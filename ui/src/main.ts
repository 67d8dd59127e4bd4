import "@fontsource-variable/atkinson-hyperlegible-next/wght.css";
import "@fontsource-variable/bricolage-grotesque/opsz.css";
import "./app.css";

import { mount } from "svelte";
import Root from "./Root.svelte";
import type { Backend } from "./backend";
import { insideTauri, tauriBackend } from "./backend/tauri";
import { App } from "./state/app";
import { systemClock } from "./state/clock";
import { words } from "./state/words";
import { Ui } from "./ui.svelte";

async function chooseBackend(): Promise<Backend | null> {
  if (__FAKE_BACKEND__) {
    const scenario = new URLSearchParams(location.search).get("fake");
    if (scenario !== null) return (await import("./fake/fake")).createFake(scenario);
  }
  return insideTauri() ? tauriBackend : null;
}

async function start(): Promise<void> {
  const backend = await chooseBackend();
  const target = document.getElementById("app");
  if (!target) throw new Error("the page has no #app");
  const dark = document.documentElement.dataset["theme"] === "dark" || matchMedia("(prefers-color-scheme: dark)").matches;
  const app = backend ? new App(backend, systemClock, words, dark) : null;
  mount(Root, { target, props: { ui: app ? new Ui(app) : null } });
  await app?.start();
}

void start();
