// Joins the plain state to Svelte: components read `ui.model`, a snapshot that is replaced whole.

import { getContext, setContext } from "svelte";
import type { App } from "./state/app";
import type { Model } from "./state/model";

export class Ui {
  model: Model = $state.raw() as Model;

  constructor(readonly app: App) {
    this.model = app.model;
    app.subscribe((model) => {
      this.model = model;
    });
  }
}

const KEY = Symbol("ui");

export function provideUi(ui: Ui): void {
  setContext(KEY, ui);
}

export function useUi(): Ui {
  return getContext<Ui>(KEY);
}
