// Where the map was looking when people left it for another page.
import type { Box } from "../../live/channel";

export const place: { box: Box | null } = { box: null };
