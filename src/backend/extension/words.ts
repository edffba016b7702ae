// A command of the network configuration as flannel reads it since 0.28.2: words between white space, `$NAME` and `${NAME}`
// replaced inside each word, and no shell. Quotes are characters like others, and a value with spaces stays one word.
//
// Source: strings.Fields and os.Expand of Go.

/** Names of one character, as a shell has them; os.Expand takes `$1` of `$12` for one. */
const special = /^\$(?:([*#$@!?0-9-])|\{([*#$@!?0-9-])\})/;
const name = /^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^}]*)\})/;

export type Environment = Readonly<Record<string, string | undefined>>;

/** The words of a command; none when it is only white space. */
export function commandWords(command: string, environment: Environment): readonly string[] {
  return command
    .split(/[\t\n\v\f\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/)
    .filter((word) => word !== '')
    .map((word) => expand(word, environment));
}

function expand(word: string, environment: Environment): string {
  let result = '';
  for (let rest = word; rest !== '';) {
    const dollar = rest.indexOf('$');
    if (dollar < 0) return result + rest;
    result += rest.slice(0, dollar);
    rest = rest.slice(dollar);
    const match = special.exec(rest) ?? name.exec(rest);
    if (match !== null) {
      result += valueOf(match.slice(1).join(''), environment);
      rest = rest.slice(match[0].length);
    } else if (rest.startsWith('${')) {
      // Go eats what it cannot read: a brace without its end.
      rest = rest.slice(2);
    } else {
      result += '$';
      rest = rest.slice(1);
    }
  }
  return result;
}

function valueOf(variable: string, environment: Environment): string {
  return (Object.hasOwn(environment, variable) ? environment[variable] : undefined) ?? '';
}

/** What in a command only a shell would understand; undefined when there is nothing. */
export function shellSyntax(command: string): string | undefined {
  const word = command
    .split(/\s+/)
    .find((each) => /^(?:&&|\|\|?|;|[0-9]?>>?|<|&|export|if|then|for|while|do|\{|\()$/.test(each));
  return word ?? /[;|]$|;\s|&&|\|\||\$\(|`|(?:^|\s)["']|["'](?:\s|$)/.exec(command)?.[0].trim();
}
