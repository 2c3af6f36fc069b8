// A list of any length of which only what is in view is in the document. One stop for the tab key; arrows move in it.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

type Props = {
  id: string;
  label: string;
  count: number;
  rowHeight: number;
  /** Index of the chosen row, -1 for none. */
  selected: number;
  keyOf: (index: number) => string;
  row: (index: number) => ComponentChildren;
  rowLabel: (index: number) => string;
  onChoose: (index: number) => void;
  /** Another question: its answer is read from the top. */
  question?: string;
};

const BEYOND = 6;

export function VirtualList({ id, label, count, rowHeight, selected, keyOf, row, rowLabel, onChoose, question = "" }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  const active = useSignal<string | null>(null);
  useEffect(() => {
    const observer = new ResizeObserver(() => { height.value = box.current?.clientHeight ?? 600; });
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    box.current!.scrollTop = 0;
    top.value = 0;
  }, [question]);

  const first = Math.max(0, Math.floor(top.value / rowHeight) - BEYOND);
  const last = Math.min(count, Math.ceil((top.value + height.value) / rowHeight) + BEYOND);
  const shown = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
  const activeIndex = shown.find((i) => keyOf(i) === active.value) ?? selected;

  function moveTo(index: number) {
    const to = Math.max(0, Math.min(count - 1, index));
    if (count === 0) return;
    active.value = keyOf(to);
    const element = box.current!;
    if (to * rowHeight < element.scrollTop) element.scrollTop = to * rowHeight;
    else if ((to + 1) * rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = (to + 1) * rowHeight - element.clientHeight;
    top.value = element.scrollTop;
  }
  function onKeyDown(event: KeyboardEvent) {
    const page = Math.max(1, Math.floor(height.value / rowHeight) - 1);
    const steps: Record<string, number> = {
      ArrowDown: activeIndex + 1, ArrowUp: activeIndex < 0 ? 0 : activeIndex - 1, Home: 0, End: count - 1,
      PageDown: Math.max(0, activeIndex) + page, PageUp: activeIndex - page,
    };
    if (event.key in steps) moveTo(steps[event.key]!);
    else if ((event.key === "Enter" || event.key === " ") && activeIndex >= 0 && activeIndex < count) onChoose(activeIndex);
    else return;
    event.preventDefault();
  }
  return (
    <div
      class="virtual" id={id} ref={box} tabIndex={0} role="listbox" aria-label={label} onKeyDown={onKeyDown}
      aria-activedescendant={activeIndex >= 0 ? `${id}-${keyOf(activeIndex)}` : undefined}
      onScroll={(event) => { top.value = event.currentTarget.scrollTop; }}
    >
      <div class="whole" role="presentation" style={{ height: `${count * rowHeight}px` }}>
        {shown.map((i) => (
          <div
            key={keyOf(i)} id={`${id}-${keyOf(i)}`} role="option" class={i === activeIndex ? "active" : ""}
            aria-selected={i === selected} aria-posinset={i + 1} aria-setsize={count} aria-label={rowLabel(i)}
            style={{ top: `${i * rowHeight}px`, height: `${rowHeight}px` }}
            onClick={() => { active.value = keyOf(i); onChoose(i); }}
          >
            {row(i)}
          </div>
        ))}
      </div>
    </div>
  );
}
