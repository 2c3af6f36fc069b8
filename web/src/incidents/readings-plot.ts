// Speed round the moment of an incident. Plain uPlot; the page only says which readings and when it was.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Schemas } from "../api/client";

export type Readings = Schemas["TrackOut"]["points"];
export type PlotLook = { ink: string; faint: string; line: string; moment: string; font: string; speed: string; time: (ms: number) => string };

// A line across a longer silence would claim speeds that nobody measured.
const LONGEST_GAP_S = 45;

export class ReadingsPlot {
  private readonly plot: uPlot;
  private readonly observer: ResizeObserver;

  constructor(container: HTMLElement, readings: Readings, momentMs: number, look: PlotLook) {
    const times: number[] = [];
    const speeds: (number | null)[] = [];
    for (const one of readings) {
      const at = Date.parse(one.device_time) / 1000;
      const before = times.at(-1);
      if (before !== undefined && at - before > LONGEST_GAP_S) {
        times.push(before + 1);
        speeds.push(null);
      }
      times.push(at);
      speeds.push(one.speed_kmh);
    }
    const axis = { stroke: look.faint, grid: { stroke: look.line, width: 1 }, ticks: { stroke: look.line, width: 1 }, font: look.font };
    this.plot = new uPlot(
      {
        width: container.clientWidth,
        height: 170,
        legend: { show: false },
        cursor: { y: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(20, most * 1.1)] } },
        axes: [
          { ...axis, space: 90, values: (_, splits) => splits.map((at) => look.time(at * 1000)) },
          { ...axis, size: 46, label: look.speed, labelFont: look.font, labelSize: 18 },
        ],
        series: [{}, { stroke: look.ink, width: 2, spanGaps: false, points: { show: readings.length < 40 } }],
        hooks: { draw: [(plot) => mark(plot, momentMs / 1000, look.moment)] },
      },
      [times, speeds],
      container,
    );
    this.observer = new ResizeObserver(() => this.plot.setSize({ width: container.clientWidth, height: 170 }));
    this.observer.observe(container);
  }

  remove(): void {
    this.observer.disconnect();
    this.plot.destroy();
  }
}

function mark(plot: uPlot, at: number, colour: string): void {
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(at, "x", true));
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}
