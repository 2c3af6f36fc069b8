// Chinese for machines that have no font of it: ours comes last in every list, so its slices are loaded only there.
import "@fontsource-variable/noto-sans-sc/index.css";

export const OUR_FONT = "Noto Sans SC Variable";

/** Whether this machine draws two different characters alike, as empty boxes. */
function lacksChinese(): boolean {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 24;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return false;
  const [one, other] = ["中", "国"].map((character) => {
    context.clearRect(0, 0, 24, 24);
    context.font = "20px sans-serif";
    context.fillText(character, 2, 20);
    return context.getImageData(0, 0, 24, 24).data.join();
  });
  return one === other;
}

/** Have what is needed to draw `text` on a canvas, which, unlike the page, does not wait for a font. */
export async function readyToDraw(text: string): Promise<void> {
  if (!lacksChinese()) return;
  const characters = [...new Set(text)].filter((one) => one > "\u2e7f").join("");
  if (characters) await document.fonts.load(`14px "${OUR_FONT}"`, characters).catch(() => undefined);
}
