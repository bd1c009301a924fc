{#- Rows without a parent: their values of `columns`, none of them null, are in no row of the other table. -#}
{% test refers_to(model, columns, to, allowed=none) %}
select distinct {% for column in columns %}child.{{ column }}{{ ", " if not loop.last }}{% endfor %}
from {{ model }} as child
where {% for column in columns %}child.{{ column }} is not null and {% endfor %}
not exists (
    select 1 from {{ to }} as parent
    where {% for column in columns %}parent.{{ column }} = child.{{ column }}{{ " and " if not loop.last }}{% endfor %}
)
{%- for column, value in (allowed or {}).items() %}
and child.{{ column }} <> '{{ value }}'
{%- endfor %}
{% endtest %}
