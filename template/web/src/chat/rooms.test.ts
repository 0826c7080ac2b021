import { expect, test } from "vitest";

import { BAD_NAME, problemWith, roomInAddress, storedRooms, storeRooms } from "./rooms.js";

function storeOf(value: string | null) {
  let kept = value;
  return {
    getItem: () => kept,
    setItem: (_: string, given: string) => {
      kept = given;
    },
  };
}

test("the address names the room", () => {
  expect(roomInAddress("", null)).toEqual({ name: "lobby", problem: "" });
  expect(roomInAddress("#", "news")).toEqual({ name: "lobby", problem: "" });
  expect(roomInAddress("#orders:7", "news")).toEqual({ name: "orders:7", problem: "" });
});

test("an address that names no room leaves the room on display, and says why", () => {
  const bad = roomInAddress("#%3Cb%3Ea%20b", "news");
  expect(bad).toEqual({ name: "news", problem: `There is no room “<b>a b”. ${BAD_NAME}` });
  expect(roomInAddress("#@me", null).name).toBe("lobby");
  expect(roomInAddress("#%", null).problem).toContain("“%”");
  const long = roomInAddress(`#${"x".repeat(5_000)}`, null);
  expect(long.problem.length).toBeLessThan(300);
});

test("a name that the user types is checked", () => {
  expect(problemWith("orders:7")).toBe("");
  for (const name of ["", "a b", "@me", "x".repeat(65)]) expect(problemWith(name)).toBe(BAD_NAME);
});

test("a reload enters the same rooms", () => {
  const store = storeOf(null);
  expect(storedRooms(store)).toEqual([]);
  storeRooms(
    store,
    new Map([
      ["b", 1],
      ["a", 2],
    ]).keys(),
  );
  expect(storedRooms(store)).toEqual(["b", "a"]);
});

test.each(["no JSON", "7", "null", '{"length":1}', '["a b",7,null]'])(
  "what is stored may be anything: %s",
  (value) => {
    expect(storedRooms(storeOf(value))).toEqual([]);
  },
);
