import { t } from "../i18n";

type LevelKey = "level.1" | "level.2" | "level.3";
export const levelName = (level: number): string => t(`level.${level}` as LevelKey);

/** A level as number, shape and colour; its name for those who hear. */
export function Level({ level, named = false }: { level: number; named?: boolean }) {
  return (
    <span class="row">
      <span class={`level level-${level}`} role="img" aria-label={t("level.number", { n: level, name: levelName(level) })}>{level}</span>
      {named && <span aria-hidden="true">{levelName(level)}</span>}
    </span>
  );
}
