/** True in the development server and in browser tests: `?fake=` may take the place of the app. */
declare const __FAKE_BACKEND__: boolean;

declare module "@fontsource-variable/bricolage-grotesque";
declare module "@fontsource-variable/atkinson-hyperlegible-next";
