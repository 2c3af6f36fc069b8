import "./fonts";
import "./style/base.css";
import "./style/marks.css";
import "./style/shell.css";
import { render } from "preact";
import { App } from "./app";
import { startLanguage } from "./i18n";
import { followLinks } from "./router";
import { resumeSession } from "./session";
import "./theme";

const root = document.getElementById("app")!;
followLinks(root);
await Promise.all([startLanguage(), resumeSession()]);
render(<App />, root);
