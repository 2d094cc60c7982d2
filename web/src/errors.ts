/** What a person can do something about: one sentence that says what was expected and what came. */
export class KitError extends Error {}

export function expect(condition: unknown, message: () => string): asserts condition {
  if (!condition) throw new KitError(message());
}
