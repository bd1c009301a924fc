{#- Rules on the rows of a table, all in one scan: columns without nulls, and sentences with what breaks them. -#}
{% test holds(model, never_null=[], rules=[]) %}
{%- set nulls = [] %}
{%- for column in never_null %}
{%- do nulls.append({"rule": column ~ " is never null", "broken": column ~ " is null"}) %}
{%- endfor %}
select counted.rule, counted.n_rows
from (
    select unnest([
{%- for rule in nulls + rules %}
        {'rule': '{{ rule["rule"] | replace("'", "''") }}', 'n_rows': count(*) filter (where {{ rule["broken"] }})}
        {{- "," if not loop.last }}
{%- endfor %}
    ]) as counted
    from {{ model }}
)
where counted.n_rows > 0
{% endtest %}
