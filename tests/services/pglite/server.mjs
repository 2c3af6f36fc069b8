// TimescaleDB with the community licence, inside PGlite, on a loopback port. One connection at a time; SQL only: COPY
// and messages of megabytes crash it.
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { timescaledb } from "@electric-sql/pglite/timescaledb";

const db = await PGlite.create("memory://", { extensions: { timescaledb } });
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: Number(process.argv[2]) });
await server.start();
console.log("listening");
