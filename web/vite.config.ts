import { defineConfig } from "vite";

// The server serves index.html at every address of a page and the rest under /web (fleet_api/pages.py).
export default defineConfig({
  base: "/web/",
  build: {
    outDir: "../fleet_api/web",
    emptyOutDir: true,
    target: "es2022",
    // Everything comes as a file of our own: the Content-Security-Policy knows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200,
  },
  server: {
    proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } },
  },
});
